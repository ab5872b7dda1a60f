//go:build !race

package doctor_test

const slack = 1
