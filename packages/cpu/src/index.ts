/**
 * One vCPU: state, fetch and dispatch, exceptions, events, CPUID and MSRs, the interpreter, ports.
 *
 * @packageDocumentation
 */
export {};
