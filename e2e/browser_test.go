package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium with one page, and what its console said.
type browser struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	log []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("no Chromium on the PATH: scripts/need.sh chromium installs it")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &browser{t: t, ctx: ctx}
	// By events and not by the console's iterator, which has a queue of its own: what an action caused is known once it is done.
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.say(fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			if e.Type == "error" || e.Type == "warning" {
				b.say(fmt.Sprintf("console: %v", e.Args))
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				b.say(e.Entry.Text + " " + e.Entry.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, line)
}

func (b *browser) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

type step = chromedp.Action[chromedp.Void]

// do runs steps, and shows the page where one fails.
func (b *browser) do(what string, steps ...step) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		ctx, stop := context.WithTimeout(b.ctx, 10*time.Second)
		defer stop()
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
		b.t.Fatalf("%s: %v\nthe page says:\n%s\nthe console says:\n%s", what, err, text, strings.Join(b.said(), "\n"))
	}
}

// shows waits until an element holds a text.
func (b *browser) shows(selector, text string) {
	b.t.Helper()
	b.do(fmt.Sprintf("%s to show %q", selector, text), chromedp.Poll[chromedp.Void](
		fmt.Sprintf(`document.querySelector(%q).textContent.includes(%q)`, selector, text), chromedp.WithPollingTimeout(patience)))
}

func fill(selector, text string) step {
	return chromedp.Steps(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

func click(selector string) step { return chromedp.Click(chromedp.CSS(selector)) }

func sees(selector string) step { return chromedp.WaitVisible(chromedp.CSS(selector)) }

// The controller's web UI, as its contract describes its calls, from another origin in a real browser: the first sign-in with its
// forced change, users, profile, portrait, a second factor by mail, and out.
func TestOpenWiFiInABrowser(t *testing.T) {
	office := closedOffice(t).open()
	h := newHouse(t, office.env(), "GATEHOUSE_MAIL_FROM=Gatehouse <no-reply@example.test>")
	h.must("", "apply", "-f", h.world(`
subjects:
  - {email: root@example.test, name: Root, password: "Lantern-Path6", must_change_password: true, superadmin: true}
services:
  - {type: owgw, uri: "https://gw.example.test:16002"}
`))
	n := h.serve()
	ui := pageServer(t, "openwifi.html")

	b := openBrowser(t)
	b.do("open the page", chromedp.Navigate(ui.URL+"/?"+url.Values{"api": {n.base}}.Encode()))
	b.shows("#pattern", "(?=.*[A-Z])")

	const password = "Harbour-Light42"
	b.do("sign in", fill(`#login [name=userId]`, "root@example.test"), fill(`#login [name=password]`, "Lantern-Path6"),
		click(`#login button`), sees(`#change [name=newPassword]`))
	b.do("change to a weak password", fill(`#change [name=newPassword]`, "weak"), click(`#change button`))
	b.shows("#toast", "5:")
	b.do("change the password", fill(`#change [name=newPassword]`, password), click(`#change button`),
		sees(`#signout`))
	b.shows("#me", "root@example.test>, root")
	b.shows("#services", "owgw")

	b.do("create somebody", fill(`#create [name=email]`, "ines@example.test"), fill(`#create [name=currentPassword]`, "Quiet-Sky-11"),
		click(`#create button`))
	b.shows("#users", "ines@example.test (csr)")

	b.do("save the profile", fill(`#profile [name=name]`, "Rosa Root"), fill(`#profile [name=note]`, "first day"),
		click(`#profile button`))
	b.shows("#me", "Rosa Root")

	file := filepath.Join(t.TempDir(), "portrait.png")
	if err := os.WriteFile(file, portrait(t), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do("upload a portrait", chromedp.SetUploadFiles(chromedp.CSS(`#file`), []string{file}), click(`#upload`),
		chromedp.Poll[chromedp.Void](`document.getElementById('picture').naturalWidth > 0`, chromedp.WithPollingTimeout(patience)))

	b.do("switch the second factor on", click(`#mfaOn`))
	b.shows("#mfa", "email")
	b.do("sign out", click(`#signout`), sees(`#login button`))

	b.do("sign in again", fill(`#login [name=userId]`, "root@example.test"), fill(`#login [name=password]`, password),
		click(`#login button`), sees(`#challenge [name=answer]`))
	b.shows("#method", "email")
	_, letter := office.wait(1)[0].plain(t)
	code := sixDigits.FindString(letter)
	if code == "" {
		t.Fatalf("no code in\n%s", letter)
	}
	b.do("answer wrongly", fill(`#challenge [name=answer]`, other(code)), click(`#challenge form button`))
	b.shows("#toast", "12:")
	b.do("answer", fill(`#challenge [name=answer]`, code), click(`#challenge form button`),
		sees(`#signout`))
	b.shows("#me", "Rosa Root")
	b.do("sign out again", click(`#signout`), sees(`#login button`))

	// A browser notes each refusal; nothing else may stand in its console: no CORS error, no exception.
	refusals := 0
	for _, line := range b.said() {
		if !strings.Contains(line, "status of 403") {
			t.Errorf("the console says: %s", line)
		}
		refusals++
	}
	if refusals != 3 { // must change, weak, wrong code
		t.Errorf("%d refusals in the console, want 3:\n%s", refusals, strings.Join(b.said(), "\n"))
	}

	if _, _, err := n.signIn("ines@example.test", "Quiet-Sky-11"); err != nil {
		t.Errorf("whom this door made does not come in by another: %v", err)
	}
	n.stop()
	for _, secret := range []string{password, "Quiet-Sky-11", code} {
		if strings.Contains(n.logged(), secret) {
			t.Errorf("the log holds %.4s…", secret)
		}
	}
}

// other gives a code that is not this one.
func other(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func portrait(t *testing.T) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 {
		img.Set(i, i, color.RGBA{200, 40, 90, 255})
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
