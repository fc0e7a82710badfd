//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd

package cli

import "os"

// quiet knows no terminal here: what is typed is shown.
func quiet(*os.File) (restore func(), ok bool) { return nil, false }
