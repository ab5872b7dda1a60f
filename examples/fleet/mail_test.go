package fleet_test

import (
	"fmt"
	"math/rand/v2"
)

// addMail draws the parties of a world with mediators and phones.
func (w *world) addMail(chance *rand.Rand) {
	var offices []*honest
	for i := range 1 + chance.IntN(2) {
		offices = append(offices, newOffice(w, fmt.Sprintf("office%d", i)))
	}
	w.honest = append(w.honest, offices...)
	for i := range 1 + chance.IntN(3) {
		h := newPhone(w, fmt.Sprintf("phone%d", i), offices[chance.IntN(len(offices))])
		w.honest = append(w.honest, h)
		if chance.IntN(2) == 0 && !h.phone.apart {
			w.devices = append(w.devices, newDevice(w, h))
		}
	}
	for i := range 1 + chance.IntN(2) {
		w.honest = append(w.honest, newHonest(w, fmt.Sprintf("agent%d", i)))
	}
	switch chance.IntN(4) {
	case 0:
		w.strangers = append(w.strangers, newStranger(w, "thief", thief{}))
	case 1:
		w.strangers = append(w.strangers, newStranger(w, "swamper", swamper{}))
	}
	for i := range chance.IntN(2) {
		m, name := newManners(chance)
		w.strangers = append(w.strangers, newStranger(w, fmt.Sprintf("%s%d", name, i), m))
	}
}

func (w *world) offices() (list []*honest) {
	for _, h := range w.honest {
		if h.office != nil {
			list = append(list, h)
		}
	}
	return list
}

func (w *world) phones() (list []*honest) {
	for _, h := range w.honest {
		if h.phone != nil {
			list = append(list, h)
		}
	}
	return list
}
