// Package pickup implements Message Pickup 3.0 and 4.0: an agent without an address collects
// the mail that its mediator holds.
package pickup
