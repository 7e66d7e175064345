package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], systemEnvironment(), os.Stdin, os.Stdout, os.Stderr))
}
