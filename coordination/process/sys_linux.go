package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which the kernel fixes at 100 for every architecture that Go runs on.
const ticksPerSecond = 100

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit blocks until the child has ended and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// statFields returns the fields of a stat file that follow the command's name. The name may itself hold spaces and
// brackets, so the split is at the last one.
func statFields(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("read %s: %d fields after the name, want at least 20", path, len(fields))
	}
	return fields, nil
}

// children lists the processes whose parent is pid and which lead groups of their own.
func children(pid int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var list []int
	for _, path := range stats {
		fields, err := statFields(path)
		if err != nil || fields[1] != strconv.Itoa(pid) { // ppid: field 4 of proc_pid_stat(5)
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && fields[2] == strconv.Itoa(child) { // pgrp: field 5
			list = append(list, child)
		}
	}
	return list
}

func allStopped(pid int) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(tasks) == 0 {
		return false, err
	}
	for _, task := range tasks {
		fields, err := statFields(task)
		if err != nil {
			return false, err
		}
		if fields[0] != "T" && fields[0] != "t" {
			return false, nil
		}
	}
	return true, nil
}

func readUsage(pid int) (Usage, error) {
	fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime: fields 14 and 15 of proc_pid_stat(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	u := Usage{CPU: time.Duration(ticks) * time.Second / ticksPerSecond}
	status, err := keyedNumbers(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	u.RSS, u.PeakRSS = status["VmRSS"]<<10, status["VmHWM"]<<10
	io, err := keyedNumbers(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return Usage{}, err
	}
	u.ReadBytes, u.WriteBytes = io["read_bytes"], io["write_bytes"]
	return u, nil
}

// keyedNumbers reads lines like "VmRSS:  123 kB"; lines whose value is no number are left out.
func keyedNumbers(path string) (map[string]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	numbers := make(map[string]int64)
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			numbers[key] = n
		}
	}
	return numbers, nil
}

// ephemeralFloor is the lowest port that the kernel gives to outgoing connections.
func ephemeralFloor() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return defaultEphemeralFloor
	}
	var low, high int
	if _, err := fmt.Sscan(string(data), &low, &high); err != nil {
		return defaultEphemeralFloor
	}
	return low
}

// startTime tells one holder of a pid from the next: clock ticks after boot, field 22 of proc_pid_stat(5).
func startTime(pid int) (string, bool) {
	fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || fields[0] == "Z" || fields[0] == "X" {
		return "", false
	}
	return fields[19], true
}
