export * from './cluster-file.ts';
