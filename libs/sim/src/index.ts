// Every export of the simulator's parts, by file.
export { EventHeap, type SimEvent } from './event-heap.ts';
export { Journal, type JournalOptions } from './journal.ts';
export { type ClockShape, Life, type LifeOptions } from './life.ts';
export { SimBus } from './sim-bus.ts';
export { SimClock } from './sim-clock.ts';
export { type DatagramPort, SimDatagrams } from './sim-datagrams.ts';
export { type DirectTransport, SimDirect } from './sim-direct.ts';
export { SimStore } from './sim-kv.ts';
export { brokerHost, goodLink, type LinkQuality, type LinkState, SimNet } from './sim-net.ts';
export { type SimRandom, simRandom } from './sim-random.ts';
export { SimStreams } from './sim-streams.ts';
