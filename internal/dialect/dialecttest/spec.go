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
	if !doc.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("the OpenAPI document is of version %s, and 3.1 is what its schemas are read as", doc.OpenAPI)
	}
	doc.Servers = nil // its paths are the door's own
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &spec{doc: doc, router: router, covered: map[string]bool{}}, nil
}

// find gives the operation that the document has for a request, and the request as its router knows it.
func (s *spec) find(r *http.Request) (*http.Request, *routers.Route, map[string]string, error) {
	plain := *r
	plain.URL = &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	route, params, err := s.router.FindRoute(&plain)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	return &plain, route, params, nil
}

// knows says whether the document has an operation for a request.
func (s *spec) knows(r *http.Request) bool {
	_, _, _, err := s.find(r)
	return err == nil
}

// check holds one exchange against the document: the operation, the status, the answer's type and schema, and of a request that
// succeeded its parameters and body too, unless the contract takes more than the document says.
func (s *spec) check(r *http.Request, body string, came recorded, lenient bool) error {
	plain, route, params, err := s.find(r)
	if err != nil {
		return err
	}
	plain.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: plain, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	// Some contracts take a body whatever its Content-Type says; then the document cannot say which schema holds.
	if ref := route.Operation.RequestBody; ref != nil && ref.Value != nil && ref.Value.Content.Get(r.Header.Get("Content-Type")) == nil {
		in.Options.ExcludeRequestBody = true
	}
	if came.status < 400 {
		s.covered[route.Method+" "+route.Path] = true
		if lenient {
			in.Options.ExcludeRequestBody = true
		} else if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("of the request: %w", err)
		}
	}
	// The library takes any body where the document names none, and is not asked about one that is missing.
	answer := route.Operation.Responses.Status(came.status)
	if answer == nil {
		answer = route.Operation.Responses.Default()
	}
	if answer == nil || answer.Value == nil {
		return fmt.Errorf("it does not know status %d of %s %s", came.status, route.Method, route.Path)
	}
	switch promised := len(answer.Value.Content) > 0; {
	case !promised && came.body != "":
		return fmt.Errorf("it knows no body of status %d of %s %s", came.status, route.Method, route.Path)
	case promised && came.body == "" && r.Method != http.MethodHead:
		return fmt.Errorf("it promises a body with status %d of %s %s", came.status, route.Method, route.Path)
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
