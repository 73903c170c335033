/* PAGEMAP_SCAN, which the C library's kernel headers may be too old to know. [ioctl_pagemap_scan(2)] */
#ifndef SSI_PAGEMAP_H
#define SSI_PAGEMAP_H
#include <linux/ioctl.h>
#include <stdint.h>
#include <sys/ioctl.h>

struct page_region {
  uint64_t start, end, categories;
};
struct pm_scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif
enum { PAGE_FILE = 1 << 2, PAGE_PRESENT = 1 << 3, PAGE_SWAPPED = 1 << 4, PAGE_ZERO = 1 << 5 };

/* The next regions from *at whose pages criu would dump; *at: where the scan goes on. -1: errno. */
static inline int scan_present(int pagemap, uint64_t *at, uint64_t end, struct page_region *found,
                               unsigned room) {
  struct pm_scan_arg scan = {
      .size = sizeof scan,
      .start = *at,
      .end = end,
      .vec = (uintptr_t)found,
      .vec_len = room,
      .category_inverted = PAGE_ZERO | PAGE_FILE,
      .category_mask = PAGE_ZERO | PAGE_FILE,
      .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
      .return_mask = PAGE_PRESENT | PAGE_SWAPPED,
  };
  int n = ioctl(pagemap, PAGEMAP_SCAN, &scan);
  *at = scan.walk_end;
  return n;
}
#endif
