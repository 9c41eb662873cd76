package metrics

import "strings"

// readSuffix tells the classes of what is fetched from those of what is written.
const readSuffix = "-read"

// ReadClass is the class of fetches from the partitions of a class.
func ReadClass(class string) string { return class + readSuffix }

// WriteClass is the class whose partitions are fetched from in a class of reads; reads is false for any other.
func WriteClass(class string) (of string, reads bool) { return strings.CutSuffix(class, readSuffix) }

// Classes are all outage classes in the order of tables. Runs from before the prober fetched have none of reads.
var Classes = []string{
	ClassLed, ReadClass(ClassLed), ClassFollowed, ReadClass(ClassFollowed), ClassUntouched, ReadClass(ClassUntouched), ClassData, ReadClass(ClassData), ClassControl,
}
