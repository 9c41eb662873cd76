module github.com/regency-project/regency/cmd

go 1.26.8

require (
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/regency-project/regency/bench v0.0.0
	github.com/regency-project/regency/broker v0.0.0
	github.com/regency-project/regency/coordination v0.0.0
	github.com/regency-project/regency/storage v0.0.0
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/twmb/franz-go v1.22.2 // indirect
	github.com/twmb/franz-go/pkg/kadm v1.19.0 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/regency-project/regency/coordination => ../coordination

replace github.com/regency-project/regency/storage => ../storage

replace github.com/regency-project/regency/broker => ../broker

replace github.com/regency-project/regency/bench => ../bench
