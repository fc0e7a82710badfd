// Package config reads Gatehouse's settings into one Config.
//
// Every setting is one row of the table in settings.go: its key in the file, and from that its environment
// variable and flag, its default, what it means and what it accepts. Load, Validate, the documentation and the
// command line's flags all read that table, so none of them can know a setting that another does not.
//
// A flag wins over the environment, the environment over the file, the file over the default. All mistakes are
// reported together, each with its place and what to do about it: an operator should need one restart, not ten.
package config
