package synthetic

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// guessEvery is the average time between two connects with credentials that an account does not
	// accept. Common lockouts begin at three to ten failures within minutes.
	guessEvery = time.Minute
	// guessBurst is how many may follow each other at once.
	guessBurst = 3
)

// Guesses limits how often clients connect with credentials that the broker must refuse. Many brokers
// lock the account or ban the address after some of them, and then refuse the right credentials too.
// All probes of an agent share one Guesses. A nil Guesses is no limit.
type Guesses struct {
	mu       sync.Mutex
	accounts map[[2]string]*rate.Limiter // by target and user name
}

// NewGuesses returns a limit for all accounts.
func NewGuesses() *Guesses { return &Guesses{accounts: map[[2]string]*rate.Limiter{}} }

// Allow reports whether another client may try wrong credentials for an account at a target.
func (g *Guesses) Allow(target, username string) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := [2]string{target, username}
	l := g.accounts[key]
	if l == nil {
		l = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		g.accounts[key] = l
	}
	return l.Allow()
}
