// Package demo serves the page on which a person tries pushd: connect as a
// user, chat between two tabs, see notifications arrive, copy the commands
// that a service would use. It also gives out tokens to that page, for any
// tenant and user, so it belongs on a loopback address and nowhere else.
//
// The page is embedded and loads nothing from elsewhere. Its requests are
// answered only under a loopback name, which keeps out foreign sites that
// resolve their own name to this machine.
package demo
