package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
)

// Some tests need a second process: this test binary, run again as one of these children.
var children = map[string]func(place string) error{
	"write":    writeUntilKilled,
	"open":     openOnce,
	"count":    countHundred,
	"hold":     holdData,
	"postgres": openPostgres,
}

func TestMain(m *testing.M) {
	if name := os.Getenv("STORETEST_CHILD"); name != "" {
		if err := children[name](os.Getenv("STORETEST_PLACE")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, name, place string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "STORETEST_CHILD="+name, "STORETEST_PLACE="+place)
	return cmd
}

// writeUntilKilled counts under as many keys as it can, and says which once each is acknowledged.
func writeUntilKilled(dir string) error {
	store, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return err
	}
	var say sync.Mutex
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d/%d", w, i)
				if err := store.Update(context.Background(), func(tx identity.Tx) error {
					if _, err := tx.CountAttempt(context.Background(), key+"/a", epoch, time.Hour); err != nil {
						return err
					}
					_, err := tx.CountAttempt(context.Background(), key+"/b", epoch, time.Hour)
					return err
				}); err != nil {
					return
				}
				say.Lock()
				fmt.Println(key)
				say.Unlock()
			}
		})
	}
	writers.Wait()
	return errors.New("stopped by itself")
}

// What was answered is there after a kill in the middle of it, and what was not is whole or absent.
func TestKill(t *testing.T) {
	for round := range 3 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			dir := SQLiteDir(t)
			cmd := child(t, "write", dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var answered []string
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				answered = append(answered, lines.Text())
				if len(answered) == 500*(round+1) {
					if err := cmd.Process.Kill(); err != nil { // SIGKILL
						t.Fatal(err)
					}
				}
			}
			_ = cmd.Wait()
			store := OpenSQLite(t, dir)
			count := func(key string) int {
				return read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), key) }).Count
			}
			// The last line may be torn.
			next := map[string]int{}
			for _, key := range answered[:len(answered)-1] {
				if a, b := count(key+"/a"), count(key+"/b"); a != 1 || b != 1 {
					t.Errorf("%s was answered and is lost (%d, %d)", key, a, b)
				}
				writer, n, _ := strings.Cut(key, "/")
				next[writer] = max(next[writer], atoi(n)+1)
			}
			for writer, n := range next {
				if a, b := count(fmt.Sprintf("%s/%d/a", writer, n)), count(fmt.Sprintf("%s/%d/b", writer, n)); a != b {
					t.Errorf("%s/%d was not answered and is half there", writer, n)
				}
			}
			update(t, store, func(identity.Tx) error { return nil })
		})
	}
}

func openOnce(dir string) error {
	store, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Ping(context.Background())
}

func openPostgres(url string) error {
	store, err := postgres.Open(context.Background(), postgres.Options{URL: url})
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Ping(context.Background())
}

// Processes that start at once on an empty database all come up.
func TestStartingAtOnce(t *testing.T) {
	for name, place := range map[string]string{"open": t.TempDir(), "postgres": PostgresURL(t)} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if out, err := child(t, name, place).CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
			all.Wait()
		})
	}
}

// Nodes in one process start at once too, each with its own pool.
func TestNodesStartingAtOnce(t *testing.T) {
	url := PostgresURL(t)
	race(t, 4, func(ctx context.Context, _ int) (bool, error) { return true, openPostgres(url) })
}

func countHundred(dir string) error {
	store, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer store.Close()
	fmt.Println("begin")
	defer fmt.Println("end")
	for range 100 {
		if err := store.Update(context.Background(), func(tx identity.Tx) error {
			_, err := tx.CountAttempt(context.Background(), "k", epoch, time.Hour)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// The command line works beside a node that serves: both write, and neither loses anything or is told that it is busy.
func TestTwoProcessesWrite(t *testing.T) {
	dir := SQLiteDir(t)
	store := OpenSQLite(t, dir)
	cmd := child(t, "count", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	// Turns count while both write: how long the other process takes to start says nothing about them.
	var mine, begun, ended int
	var words []string
	for open := true; open; {
		var line string
		select {
		case line, open = <-said:
			switch line {
			case "begin":
				begun = mine
			case "end":
				ended = mine
			default:
				words = append(words, line)
			}
		default:
			update(t, store, func(tx identity.Tx) error {
				_, err := tx.CountAttempt(t.Context(), "k", epoch, time.Hour)
				return err
			})
			mine++
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), "k") })
	if a.Count != mine+100 {
		t.Errorf("count %d, want %d here and 100 there", a.Count, mine)
	}
	if n := ended - begun; n > 1000 {
		t.Errorf("%d updates here while there were 100 there: the two do not take turns", n)
	}
}

func holdData(dir string) error {
	if _, err := sqlite.LockData(dir); err != nil {
		return err
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// One process serves a data directory, and its end, however it comes, lets the next one in.
func TestOneServer(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "hold", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("child said %q", line)
	}
	_, err = sqlite.LockData(dir)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) || strings.Contains(err.Error(), "\n") {
		t.Errorf("LockData = %v, want one line with the process that holds it", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	unlock, err := sqlite.LockData(dir)
	if err != nil {
		t.Fatalf("LockData after its holder's death = %v", err)
	}
	if _, err := sqlite.LockData(dir); err == nil {
		t.Error("held twice")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = sqlite.LockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = unlock()
}
