/**
 * ELF, bzImage, PVH, multiboot; ACPI tables, e820.
 *
 * @packageDocumentation
 */
export {};
