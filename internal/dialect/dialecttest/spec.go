package dialecttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// spec is a door's OpenAPI document, and which of its operations succeeded so far.
type spec struct {
	doc     *openapi3.T
	router  routers.Router
	covered map[string]bool
}

func newSpec(raw []byte) (*spec, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("the OpenAPI document cannot be read: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is not valid: %w", err)
	}
	doc.Servers = nil // its paths are the door's own
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &spec{doc: doc, router: router, covered: map[string]bool{}}, nil
}

// check holds one exchange against the document: the operation, the status, the answer's type and schema, and of a request that
// succeeded its parameters and body too.
func (s *spec) check(r *http.Request, body string, came recorded) error {
	plain := *r
	plain.URL = &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	route, params, err := s.router.FindRoute(&plain)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	plain.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: &plain, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	// Some contracts take a body whatever its Content-Type says; then the document cannot say which schema holds.
	if ref := route.Operation.RequestBody; ref != nil && ref.Value != nil && ref.Value.Content.Get(r.Header.Get("Content-Type")) == nil {
		in.Options.ExcludeRequestBody = true
	}
	if came.status < 400 {
		s.covered[route.Method+" "+route.Path] = true
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return err
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: came.status, Header: came.header, Options: in.Options,
	}
	out.SetBodyBytes(bytes.TrimRight([]byte(came.body), "\n"))
	return openapi3filter.ValidateResponse(context.Background(), out)
}

// uncovered lists the operations that no exchange succeeded at.
func (s *spec) uncovered() []string {
	var missing []string
	for path, item := range s.doc.Paths.Map() {
		for method := range item.Operations() {
			if name := method + " " + path; !s.covered[name] {
				missing = append(missing, name)
			}
		}
	}
	slices.Sort(missing)
	return missing
}
