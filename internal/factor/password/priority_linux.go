package password

import "golang.org/x/sys/unix"

// niceness is added to a worker's thread. Measured on two cores with 64 callers signing in and validations beside them:
// at 0 the p99 of a validation is 4 times its quiet value, at 10 it is 1 time; at 19 sign-ins starve while validations
// keep the machine busy, at 10 they keep a third of their rate.
const niceness = 10

// lowerPriority makes the calling thread yield to every other. Linux keeps the value per thread, whatever POSIX says.
// It cannot fail for the own thread, and a thread of normal priority would still hash correctly.
func lowerPriority() {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the kernel gives 20 minus the value
	if err != nil {
		return
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(19, 20-own+niceness))
}
