// Package archtest holds the rules of the house that a compiler cannot: who may import whom, and what no package
// does. It has only tests. Each rule carries its reason, so that whoever breaks one can judge whether the rule or
// the change is wrong.
package archtest
