// Package message holds what travels through pushd: one Message from whoever
// publishes it, through the cluster, to the edge, and the ID that names
// messages and connections.
package message
