// Command gatehouse is one identity server for many auth APIs; `gatehouse --help` lists what it can be told.
package main

import (
	"os"

	"gatehouse/internal/cli"
)

func main() { os.Exit(cli.Main()) }
