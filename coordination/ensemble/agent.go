package ensemble

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/regency-project/regency/coordination/profile"
)

// layOutAgents is layOut for the agents, whose ports follow those of the members.
func (e *Ensemble) layOutAgents(o Options, servers []profile.Server) error {
	for i := range o.Agents {
		name := profile.AgentName(i)
		ports := e.ports[3*o.Members+2*i:]
		self := profile.Server{Host: "127.0.0.1", Dir: filepath.Join(e.dir, name), Client: ports[0], Side: ports[1]}
		command, err := profile.ConsulAgent(e.profile, servers, name, self, e.secure)
		if err != nil {
			return err
		}
		if err := writeFiles(self.Dir, command.Files); err != nil {
			return err
		}
		e.agents = append(e.agents, &member{name: name, server: self, command: command})
	}
	return nil
}

// Agents describes every agent as it is now.
func (e *Ensemble) Agents() []Member { return describe(e.agents) }

// AgentURL is URL for the process whose agent is agent i: it is named first, and the servers after it.
func (e *Ensemble) AgentURL(i int, prefix string) (string, error) {
	m, err := e.agent(i)
	if err != nil {
		return "", err
	}
	return profile.CoordinationURL(e.profile, append([]string{m.server.Endpoint()}, e.Endpoints()...), prefix)
}

func (e *Ensemble) agent(i int) (*member, error) {
	if i < 0 || i >= len(e.agents) {
		return nil, fmt.Errorf("agent %d of %d: no such agent", i, len(e.agents))
	}
	return e.agents[i], nil
}

// KillAgent kills agent i, counted from 0, with SIGKILL and waits until it is dead. A dead agent is no error.
func (e *Ensemble) KillAgent(i int) error {
	m, err := e.agent(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.process.Kill()
}

// RestartAgent starts a dead agent again with its data and ports and waits, until ctx ends, for it to serve. An agent that runs is killed first.
func (e *Ensemble) RestartAgent(ctx context.Context, i int) error {
	if err := e.KillAgent(i); err != nil {
		return err
	}
	m, err := e.agent(i)
	if err != nil {
		return err
	}
	if err := e.startMember(ctx, m); err != nil {
		return err
	}
	return e.waitFor(ctx, "restart "+m.name, func(ctx context.Context) error { return e.probeAgent(ctx, m) })
}

// probeAgent wants an agent that reaches the leader, and whose node the catalog holds as healthy: sessions can then be bound to its checks.
func (e *Ensemble) probeAgent(ctx context.Context, m *member) error {
	var checks []struct{ CheckID, Status string }
	if err := e.call(ctx, http.MethodGet, m.server, "/v1/health/node/"+m.name+"?consistent", &checks); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	for _, c := range checks {
		if c.CheckID == "serfHealth" && c.Status == "passing" {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", m.name, errors.New("the servers do not take it for healthy yet"))
}

// probeAgents probes every agent that runs.
func (e *Ensemble) probeAgents(ctx context.Context) error {
	for i, a := range e.Agents() {
		if !a.Running {
			continue
		}
		if err := e.probeAgent(ctx, e.agents[i]); err != nil {
			return err
		}
	}
	return nil
}
