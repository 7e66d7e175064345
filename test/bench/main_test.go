package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/aegisx/pushd/test/leaks"
)

// TestMain lets the test binary be the loop, as the program itself can be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == floorCommand {
		if err := floorLoop(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaks.Main(m))
}
