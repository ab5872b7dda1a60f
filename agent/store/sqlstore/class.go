package sqlstore

import (
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// classes are all classes, by number.
var classes = store.Classes()

// classSet is a set of classes, with a bit for the number of each.
type classSet uint8

// setOf returns the set of the classes, or of all classes if there are none.
func setOf(list []store.Class) (set classSet) {
	if len(list) == 0 {
		list = classes
	}
	for _, class := range list {
		set |= 1 << class.Number()
	}
	return set
}

func (s classSet) has(class int) bool { return s&(1<<class) != 0 }

// numbers returns the numbers of the classes of the set, as a column.
func (s classSet) numbers() (list []int64) {
	for class := range classes {
		if s.has(class) {
			list = append(list, int64(class))
		}
	}
	return list
}

// classTotals are the totals of each class. The total of own items has the plain name, since
// that is the class of items that were stored when there were no classes.
func classTotals(name string, shard int64) []*total {
	totals := make([]*total, len(classes))
	for i, class := range classes {
		totals[i] = &total{name: name, shard: shard}
		if class != store.ClassOwn {
			totals[i].name += " " + string(class)
		}
	}
	return totals
}

// wanting is a body that leases an item. wants has the classes from which it leases, and is
// empty in a table without classes.
type wanting interface{ wants() classSet }

// wants returns the classes from which any of the requests leases.
func wants(reqs []*request) (set classSet) {
	for _, r := range reqs {
		set |= r.body.(wanting).wants()
	}
	return set
}

// serve moves the first of the requests that leases from a class to the front. It returns
// false if there is none.
func serve(reqs []*request, class int) bool {
	i := slices.IndexFunc(reqs, func(r *request) bool { return r.body.(wanting).wants().has(class) })
	if i < 0 {
		return false
	}
	first := reqs[i]
	copy(reqs[1:], reqs[:i])
	reqs[0] = first
	return true
}
