//go:build race

package doctor_test

// slack: with the race detector a sync.Pool forgets at random, so that buffers
// which are else used again are made again.
const slack = 4
