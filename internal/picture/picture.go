// Package picture turns what a stranger uploads as a picture of somebody into bytes that are a picture and nothing else.
//
// JPEG, PNG, GIF and WebP are told by content, decoded, turned upright, made small and encoded anew as PNG or JPEG: what
// was hidden in metadata, in further frames or behind the end is not in what comes out. SVG cannot be drawn here; it is
// read as XML and written anew from a list of what may stand in it (svg.go).
//
// A file of two megabytes can ask for gigabytes and minutes. Nothing is decoded before its header was held against the
// limits, and all decoding goes through one room of memory: what fits at once works, a few wait, the rest is sent away.
//
// The package stores nothing and knows no subject: it takes bytes and gives bytes.
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"gatehouse/internal/identity"
)

// Picture is one that may be served. Its media type is PNG, JPEG or SVG, whatever was uploaded.
type Picture struct {
	MediaType     string
	Bytes         []byte
	Width, Height int // of pixels; 0 for SVG
}

// The media types of what comes out.
const (
	PNG  = "image/png"
	JPEG = "image/jpeg"
	SVG  = "image/svg+xml"
)

// Options of a Cleaner; zero fields take the default.
type Options struct {
	MaxBytes  int   // what comes in is smaller than this; 2,000,000
	MaxPixels int   // of a picture that comes in; 25 million
	Side      int   // the longer side of what comes out, at most; 512
	Memory    int64 // bytes that decoding may take, all pictures together; 160 MiB
	Workers   int   // pictures at once; one for every second core
	Queue     int   // callers that may wait; 8 for each worker
}

const (
	// A picture of 25 million by 1 pixels is no portrait, and loops over rows are not made for it.
	maxSide = 20_000

	// Pixels times scans. A scan can say "nothing new" of all pixels in a few bytes, and two megabytes have room for a
	// hundred thousand of them; a progressive photograph has ten.
	maxScanned = 200_000_000
)

// Cleaner cleans pictures: as many at once as there is room for, the rest waiting in order of arrival, no more than fit in
// the queue.
type Cleaner struct {
	opt  Options
	room *semaphore.Weighted // bytes of memory; first come, first served

	mu      sync.Mutex
	waiting int
}

// New makes a Cleaner.
func New(opt Options) *Cleaner {
	set := func(v *int, standard int) {
		if *v <= 0 {
			*v = standard
		}
	}
	set(&opt.MaxBytes, 2_000_000)
	set(&opt.MaxPixels, 25_000_000)
	set(&opt.Side, 512)
	// Half of the cores: whoever uploads pictures must leave some to those who sign in.
	set(&opt.Workers, max(1, runtime.NumCPU()/2))
	set(&opt.Queue, 8*opt.Workers)
	if opt.Memory <= 0 {
		opt.Memory = 160 << 20
	}
	return &Cleaner{opt: opt, room: semaphore.NewWeighted(opt.Memory)}
}

// MaxBytes is the size that an upload must stay below.
func (c *Cleaner) MaxBytes() int { return c.opt.MaxBytes }

// Clean gives the picture that the bytes hold. What is no picture, or one that might do something, is identity.Invalid; one
// over a limit is identity.TooLarge; with too many others before it, identity.Busy.
func (c *Cleaner) Clean(ctx context.Context, data []byte) (Picture, error) {
	if len(data) >= c.opt.MaxBytes {
		return Picture{}, c.TooLarge()
	}
	clean, memory, err := c.plan(data)
	if err != nil {
		return Picture{}, err
	}
	if memory > c.opt.Memory {
		return Picture{}, errTooManyPixels
	}
	leave, err := c.enter(ctx, memory)
	if err != nil {
		return Picture{}, err
	}
	defer leave()
	return guarded(ctx, data, clean)
}

// TooLarge is the refusal of an upload that is not below MaxBytes, for whoever has stopped reading it.
func (c *Cleaner) TooLarge() error {
	return identity.TooLarge.Because(fmt.Sprintf("the picture must be smaller than %d bytes", c.opt.MaxBytes))
}

var errTooManyPixels = identity.TooLarge.Because("the picture has too many pixels")

// cleaning is the work that a plan asks for.
type cleaning func(ctx context.Context, data []byte) (Picture, error)

// plan looks at the beginning only: what is to be done, and how much memory it may take.
func (c *Cleaner) plan(data []byte) (cleaning, int64, error) {
	if looksLikeXML(data) {
		return c.svg, svgMemory * int64(len(data)), nil
	}
	format, ok := formatOf(data)
	if !ok {
		return nil, 0, identity.Invalid.Because("the file is no JPEG, PNG, GIF, WebP or SVG picture")
	}
	h, err := format.header(data)
	if err != nil || h.width < 1 || h.height < 1 {
		return nil, 0, unreadable(format.name, err)
	}
	if h.width > maxSide || h.height > maxSide || h.width*h.height > c.opt.MaxPixels {
		return nil, 0, errTooManyPixels
	}
	if h.width*h.height*h.scans > maxScanned {
		return nil, 0, unreadable(format.name, errors.New("too many scans for its pixels"))
	}
	clean := func(ctx context.Context, data []byte) (Picture, error) { return c.raster(ctx, format, h, data) }
	return clean, h.memory, nil
}

func unreadable(format string, err error) error {
	return &identity.Error{Kind: identity.Invalid, Public: "the " + format + " picture cannot be read: it is damaged or uses what is not supported", Err: err}
}

// errPanic marks a decoder's own mistake, so that the fuzz test finds it.
var errPanic = errors.New("a decoder panicked")

// guarded keeps a decoder's mistake from becoming a fault of the server: the file is refused as any other that cannot be read.
func guarded(ctx context.Context, data []byte, clean cleaning) (p Picture, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = Picture{}, unreadable("uploaded", fmt.Errorf("%w: %v", errPanic, r))
		}
	}()
	return clean(ctx, data)
}

// enter waits for room, in order of arrival, or says identity.Busy. Everybody takes at least a worker's share, since a
// picture takes a core whatever its memory.
func (c *Cleaner) enter(ctx context.Context, memory int64) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	memory = max(memory, c.opt.Memory/int64(c.opt.Workers))
	if !c.room.TryAcquire(memory) {
		if err := c.wait(ctx, memory); err != nil {
			return nil, err
		}
	}
	return func() { c.room.Release(memory) }, nil
}

func (c *Cleaner) wait(ctx context.Context, memory int64) error {
	c.mu.Lock()
	if c.waiting >= c.opt.Queue {
		c.mu.Unlock()
		return identity.Busy.After(time.Second, "too many pictures at once")
	}
	c.waiting++
	c.mu.Unlock()
	err := c.room.Acquire(ctx, memory)
	c.mu.Lock()
	c.waiting--
	c.mu.Unlock()
	return err
}

// reader reads until ctx ends, so that a decoder stops when nobody waits for it any more.
func reader(ctx context.Context, data []byte) io.Reader {
	return &untilDone{ctx, bytes.NewReader(data)}
}

type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
