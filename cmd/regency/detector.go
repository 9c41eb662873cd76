package main

import (
	"github.com/regency-project/regency/broker/detector"
	"github.com/spf13/pflag"
)

const detectorHelp = `what notices that a broker has died:
  session    the coordination service alone, when the broker's session ends
  peer       also the other brokers: a broken connection and a refused redial, or missed heartbeats
  guardian   also a process beside the broker that outlives it`

// detectorFlags are the settings of the failure detector. The broker's configuration checks them.
func detectorFlags(fs *pflag.FlagSet, c *detector.Config) {
	fs.StringVar((*string)(&c.Kind), "detector", string(detector.Session), detectorHelp+"\n")
	fs.DurationVar(&c.Beat, "detector-beat", detector.DefaultBeat, "detector peer: how often the others are asked for a sign of life")
	fs.IntVar(&c.Missed, "detector-missed", detector.DefaultMissed, "detector peer: how many answers in a row a broker may owe before it counts as dead")
}
