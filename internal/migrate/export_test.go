package migrate

// SettlesFor is settlesFor.
var SettlesFor = settlesFor
