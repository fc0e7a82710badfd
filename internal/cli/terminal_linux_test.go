package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// On a terminal a password is asked for, not shown, and ends with Enter.
func TestPasswordIsNotShown(t *testing.T) {
	mine, theirs := pseudoTerminal(t)
	out, errs := &lines{grew: make(chan struct{}, 1)}, &lines{grew: make(chan struct{}, 1)}
	environ := append([]string{"GATEHOUSE_DATA=" + t.TempDir()}, cheap...)
	code := make(chan int)
	go func() {
		code <- Run(t.Context(), []string{"user", "add", "ada@example.test", "--password-stdin"}, Process{In: theirs, Out: out, Err: errs, Environ: environ})
	}()
	for limit := time.After(time.Minute); !strings.Contains(errs.String(), "password (not shown): "); {
		select {
		case <-errs.grew:
		case <-limit:
			t.Fatal("nobody asks")
		}
	}
	if _, err := mine.WriteString("correct horse battery\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != done || !strings.HasPrefix(out.String(), "ada@example.test is made") {
		t.Errorf("exit %d\n%s%s", got, out, errs)
	}
	// Typed now it is shown, since the terminal is as it was; and all that was shown before would come first.
	if _, err := mine.WriteString("after\n"); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	for !strings.Contains(shown.String(), "after") {
		p := make([]byte, 100)
		n, err := mine.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(p[:n])
	}
	if strings.Contains(shown.String(), "horse") {
		t.Errorf("the terminal shows %q", shown.String())
	}
}

func pseudoTerminal(t *testing.T) (mine, theirs *os.File) {
	t.Helper()
	mine, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mine.Close() })
	if err := unix.IoctlSetPointerInt(int(mine.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(mine.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return mine, theirs
}
