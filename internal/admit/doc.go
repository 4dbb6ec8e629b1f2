// Package admit decides who works at the hub next.
//
// Ten thousand devices that come back at once must be served one after another,
// not all at the same time: what runs is bounded in work and in bytes, what waits is
// bounded too, and who is turned away is given an appointment.
//
// Line is the decision, a plain value without goroutines or a clock: classes of work
// take turns by their shares, within a class the parties do (the devices that read the
// same scopes) and then the devices of a party, and whoever is next is never overtaken
// for want of room. Diary spreads the appointments. Gate
// is the door around both: it lets callers wait.
package admit
