// Package examples holds the sample world that `gatehouse demo` uses.
package examples

import _ "embed"

// World is the file world.yaml beside this one.
//
//go:embed world.yaml
var World []byte
