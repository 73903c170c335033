// keepalived.conf, with examples written from its manual.
import { describe, expect, test } from 'vitest';
import { parseKeepalived } from '../src/index.ts';

const whole = `! Web servers behind one address
global_defs {
    router_id lb1
}
virtual_server 10.9.0.1 80 {
    delay_loop 6.5          # seconds
    lvs_sched wrr
    lvs_method NAT
    persistence_timeout 50
    persistence_granularity 255.255.255.0
    protocol TCP
    virtualhost www.example.org
    alpha
    omega
    quorum 3
    hysteresis 1
    quorum_up "/etc/up.sh with 'words'"
    quorum_down /etc/down.sh
    sorry_server 10.1.0.9 8080
    retry 2

    real_server 10.1.0.1 8080 {
        weight 3
        uthreshold 100
        lthreshold 80
        inhibit_on_failure
        notify_down "/bin/logger down"
        HTTP_GET {
            url {
                path /status
                digest 9B3A0C85A887A256D6939DA88AABD8CD
                status_code 200 300-302
            }
            url
            {
                path /b
                regex "^ok \\\\d+"
            }
            connect_timeout 3
            delay_before_retry 4
        }
        MISC_CHECK {
            misc_path "/usr/local/bin/check 10.1.0.1 8080"
            misc_timeout 5
            misc_dynamic
            warmup 0
        }
    }
    real_server 10.1.0.2 8080 { weight 2
        alpha no
        TCP_CHECK { connect_port 81
            connect_timeout 2 }
    }
}
virtual_server fwmark 7 {
    lvs_sched mh
    mh-port
    lvs_method DR
    real_server 10.1.0.3 { }
}
`;
const table = (text: string) => {
  const parsed = parseKeepalived(text);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.value;
};
const faults = (text: string): string[] => {
  const parsed = parseKeepalived(text, 'k');
  return parsed.ok ? [] : (parsed.detail ?? '').split('\n');
};
const vs = (inside: string): string => `virtual_server 10.9.0.1 80 {\n${inside}\n}`;

describe('LVS: keepalived.conf', () => {
  test('a whole file: services, servers, checkers; settings go down to where there are none', () => {
    const {
      table: [web, mark, ...rest],
      leftOut,
    } = table(whole);
    expect(rest).toEqual([]);
    expect(leftOut).toEqual(['keepalived.conf:2: global_defs: not a virtual_server']);
    expect(web).toMatchObject({
      ...{ id: { protocol: 'tcp', address: '10.9.0.1', port: 80 }, scheduler: 'wrr', flags: [] },
      persistence: { timeoutS: 50, netmask: '255.255.255.0' },
      health: {
        ...{ quorum: 3, hysteresis: 1, omega: true, quorumDown: ['/etc/down.sh'] },
        quorumUp: ['/etc/up.sh', 'with', "'words'"],
      },
      sorryServer: { address: '10.1.0.9', port: 8080, forward: 'masq', weight: 1 },
    });
    const common = { delayLoopMs: 6_500, retry: 2, alpha: true };
    expect(web?.servers[0]).toEqual({
      ...{ address: '10.1.0.1', port: 8080, forward: 'masq', weight: 3, upper: 100, lower: 80 },
      health: {
        inhibitOnFailure: true,
        notifyDown: ['/bin/logger', 'down'],
        checkers: [
          {
            ...{ kind: 'HTTP_GET', ...common, connectTimeoutMs: 3_000, delayBeforeRetryMs: 4_000 },
            virtualhost: 'www.example.org',
            urls: [
              {
                ...{ path: '/status', digest: '9b3a0c85a887a256d6939da88aabd8cd' },
                statusCodes: [
                  { from: 200, to: 200 },
                  { from: 300, to: 302 },
                ],
              },
              { path: '/b', regex: '^ok \\d+' },
            ],
          },
          {
            ...{ kind: 'MISC_CHECK', ...common, warmupMs: 0, timeoutMs: 5_000, dynamic: true },
            script: ['/usr/local/bin/check', '10.1.0.1', '8080'],
          },
        ],
      },
    });
    expect(web?.servers[1]?.health?.checkers).toEqual([
      { kind: 'TCP_CHECK', ...common, alpha: false, port: 81, connectTimeoutMs: 2_000 },
    ]);
    expect(mark).toEqual({
      ...{ id: { protocol: 'fwmark', mark: 7 }, scheduler: 'mh', flags: ['mh-port'] },
      servers: [{ address: '10.1.0.3', port: 0, forward: 'route', weight: 1, upper: 0, lower: 0 }],
    });
  });

  test('every fault has its line; nothing is imported', () => {
    expect(
      faults(
        vs(
          [
            'lvs_sched best',
            'delay_loop soon',
            'protocol SCTP',
            'retry -1',
            'colour red',
            'ops',
          ].join('\n'),
        ),
      ),
    ).toEqual([
      'k:3: delay_loop: seconds, at most a day, not soon',
      'k:4: protocol: TCP or UDP, not SCTP',
      'k:5: retry: 0 to 1000, not -1',
      'k:6: colour: not known in virtual_server',
      'k:7: ops: not known in virtual_server',
      expect.stringContaining('k:1: lvs_sched best: there are rr wrr'),
    ]);
    expect(faults(vs('real_server 10.1.0.1 80 {\nSMTP_CHECK {\n}\nHTTP_GET {\n}\n}'))).toEqual([
      'k:3: SMTP_CHECK: there are TCP_CHECK, HTTP_GET, SSL_GET and MISC_CHECK',
      expect.stringContaining('k:5: HTTP_GET: urls'),
    ]);
    expect(faults(vs('real_server 10.1.0.1 80 {\nMISC_CHECK {\nmisc_path /a b\n}\n}'))).toEqual([
      'k:4: misc_path: one word or quoted text; it runs as the director’s user',
      expect.stringContaining('k:3: MISC_CHECK: script'),
    ]);
    expect(faults(`${vs('')}\n${vs('')}`)).toEqual(['k:4: -t 10.9.0.1:80: there is this service']);
    expect(faults('virtual_server group web {\n}')).toEqual([
      'k:1: virtual_server group: give each its own block',
    ]);
    expect(faults('virtual_server ::1 80 {\n}')[0]).toContain(
      'k:1: virtual_server: IPv4 ADDRESS PORT',
    );
    expect(faults('virtual_server 10.9.0.1 {\n}')[0]).toContain(
      'port 0 (all ports) goes with -p only',
    );
  });

  test('form: braces, quotation marks, includes, conditions', () => {
    expect(faults('virtual_server 10.9.0.1 80 {\n')).toEqual(['k:1: a { without its }']);
    expect(faults('}\n')).toEqual(['k:1: a } without its {']);
    expect(faults('{\n}\n')).toEqual(['k:1: a { that belongs to nothing']);
    expect(faults('quorum_up "half\n')).toEqual(['k:1: a quotation mark without its pair']);
    expect(faults('include /etc/other.conf\n')[0]).toContain(
      'k:1: include: other files are not read',
    );
    expect(faults(vs('@main weight 1\n$A = 3'))).toEqual([
      ...['@main', '$A'].map(
        (w, i) => `k:${i + 2}: ${w}: conditions, definitions and ~SEQ are not understood`,
      ),
    ]);
  });
});
