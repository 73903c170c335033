// Every export of the words of LVS, by file.

export { type IpvsCommand, type ListFormat, parseIpvsadm, wordsOf } from './ipvsadm-parse.ts';
export {
  type Counts,
  largeNumber,
  printList,
  printRules,
  type ServerState,
} from './ipvsadm-print.ts';
export { type Imported, parseKeepalived } from './keepalived.ts';
export { parseLvsYaml } from './lvs-yaml.ts';
export {
  addServer,
  addService,
  deleteServer,
  deleteService,
  editServer,
  editService,
  faultOfServer,
  faultOfService,
  findService,
  type ServerId,
  type ServiceOptions,
  serversMax,
  serverText,
  servicesMax,
  serviceText,
  type Table,
  type TableErrno,
  type TableReply,
  tableOf,
} from './table.ts';
