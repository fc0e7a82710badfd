package password

import (
	_ "embed"
	"math"
	"sort"
	"strings"
	"sync"
)

// wordList is sorted by bytes, so that it can be searched where it lies; gen_words.go describes it.
//
//go:embed words.txt
var wordList string

// wordLines are the offsets at which the lines of wordList begin, and its end.
var wordLines = sync.OnceValue(func() []uint32 {
	lines := make([]uint32, 1, strings.Count(wordList, "\n")+1)
	for i := range len(wordList) {
		if wordList[i] == '\n' {
			lines = append(lines, uint32(i+1))
		}
	}
	return lines
})

// lookUp finds a folded word. rank is how many words are about as frequent or more; longer says whether some longer word
// begins with it, so that a search for ever longer words knows when to stop.
func lookUp(word string) (rank float64, common, longer bool) {
	if strings.IndexByte(word, '\t') >= 0 {
		return 0, false, false // what parts a word from its rank in the list stands in no word
	}
	lines := wordLines()
	count := len(lines) - 1
	line := func(i int) string { return wordList[lines[i] : lines[i+1]-1] }
	at := sort.Search(count, func(i int) bool { return line(i) >= word })
	if at < count && strings.HasPrefix(line(at), word) && line(at)[len(word)] == '\t' {
		letter := line(at)[len(word)+1]
		if common = letter < 'a'; common {
			letter += 'a' - 'A'
		}
		rank = math.Exp2(float64(letter-'a') + 0.5)
		at++
	}
	return rank, common, at < count && strings.HasPrefix(line(at), word)
}

// IsCommon says whether a password is one of the 30,000 most used ones, without regard to case and width.
func IsCommon(form string) bool {
	_, common, _ := lookUp(fold(form))
	return common
}
