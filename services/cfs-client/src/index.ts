// Every export of the client, by file.
export { fuseMountPoint } from './adapters/mount-point.fuse.ts';
export { type IcsServer, icsServer } from './adapters/server.ics.ts';
export type { ClientOptions } from './client.ts';
export { clusterFilesystem } from './filesystem.ts';
export type * from './ports.ts';
export { type CfsClientDeps, type CfsClientService, createCfsClient } from './service.ts';
