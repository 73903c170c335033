# Speaks as ipvsadm does (-S -n, -L -n, -R), with a file of rules in the place of the kernel: a line each, servers after
# their service. The server 10.1.0.66 is refused. As in the kernel, each line of -R has its effect at once.
import os, re, sys

path, args = sys.argv[1], sys.argv[2:]
rules = open(path).read().splitlines() if os.path.exists(path) else []


def value(line, option):
    found = re.search(r'(?:^| )' + option + r' (\S+)', line)
    return found.group(1) if found else None


def service_of(line):
    return re.search(r'-[tuf] \S+', line).group(0)


def at(service, server=None):
    for n, rule in enumerate(rules):
        if service_of(rule) == service and (server is None or value(rule, '-r') == server):
            return n
    return None


def end_of(service):
    return max(n for n, rule in enumerate(rules) if service_of(rule) == service) + 1


def execute(line):
    verb, service, server = line[:2], service_of(line), value(line, '-r')
    there = at(service, server)
    if server == '10.1.0.66:80':
        return 'Memory allocation problem'
    if verb in ('-A', '-a') and there is not None:
        return 'Destination already exists' if server else 'Service already exists'
    if verb in ('-E', '-D', '-e', '-d') and there is None or verb == '-a' and at(service) is None:
        return 'No such destination' if server else 'No such service'
    if verb == '-A':
        rules.append(line)
    elif verb == '-a':
        rules.insert(end_of(service), line)
    elif verb == '-D':
        rules[:] = [rule for rule in rules if service_of(rule) != service]
    elif verb == '-d':
        del rules[there]
    else:
        rules[there] = line.replace(verb, verb.replace('E', 'A').replace('e', 'a'), 1)
    return None


if args == ['-R']:
    for line in sys.stdin.read().splitlines():
        fault = execute(line)
        if fault:
            print(fault, file=sys.stderr)
            sys.exit(1)
        with open(path, 'w') as file:
            file.write(''.join(rule + '\n' for rule in rules))
elif args[:1] == ['-S']:
    for rule in rules:
        print(re.sub(r' -[xy] \d+', '', rule))
else:
    print('IP Virtual Server version 1.2.1 (size=4096)')
    stats = '--stats' in args
    print('Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes'
          if stats else 'Prot LocalAddress:Port Scheduler Flags')
    print('  -> RemoteAddress:Port' + ('' if stats else '           Forward Weight ActiveConn InActConn'))
    for rule in rules:
        if rule.startswith('-A'):
            kind, name = service_of(rule).split()
            print({'-t': 'TCP ', '-u': 'UDP ', '-f': 'FWM '}[kind], name,
                  '' if stats else value(rule, '-s'))
        elif stats:
            print('  -> %-28s %8d %8d %8d %8d %8d' % (value(rule, '-r'), 5, 50, 40, 5000, 200000000))
        else:
            print('  -> %-28s %-7s %-6s %-10d %-10d' % (value(rule, '-r'), 'Route', value(rule, '-w'), 2, 3))
