// Package dialecttest replays recorded exchanges against a door, and holds each against the door's OpenAPI document.
//
// A file testdata/NAME.http is one or more exchanges with a fresh house:
//
//	# source: vendor reference, "Sign in with a password", read 2026-08
//	POST /token?grant_type=password
//	Content-Type: application/json
//
//	{"email":"ada@example.com","password":"battery"}
//	=== 400
//	Content-Type: application/json
//	! Set-Cookie
//
//	{"code":"invalid_credentials","message":"Invalid login credentials"}
//	---
//	…the next exchange of the same story
//
// A file says where its first answer comes from: recorded from ourselves it proves only that we did not change. Of the answer's
// headers those that are named are compared, exactly; "! Name" must be absent. The body is compared byte for byte, line ends at
// its end aside; where a value cannot repeat, a placeholder stands: {{any:jwt}}, {{any:hex64}}, {{any:hex40}}, {{any:uuid}},
// {{any:int}}, {{any:b64url}}, {{any:text}}. Directives stand before an exchange:
//
//	# capture: token = access_token     keeps a member of the answer (dotted path) for {{token}} in what follows
//	# capture-header: where = Location  the same of a header
//	# advance: 31s                      moves the clock before the request
//	# listener: service                 sends it to the internal listener
//	# not-in-spec                       the path or method is not the door's: only the refusal is of interest, and the
//	                                    OpenAPI document must not have it
//	# lenient-request                   the contract takes what the document would not: only the answer is held against it
//
// Any other line that begins with "#" is a comment, unless it looks like a misspelt directive. With -update the answers that
// come replace the recorded ones; captured names and placeholders that fit stay, and signed tokens become {{any:jwt}}.
package dialecttest
