// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Lists the Xen domains other than dom0, one a line, or destroys them; works without xenstored, which xl does not. For the Xen testbed.
//
// usage: domains [--destroy [HANDLE-PREFIX]]   HANDLE-PREFIX: only those whose handle (UUID), printed in hexadecimal, begins so
#include <stdio.h>
#include <string.h>
#include <xenctrl.h>

static const char* state(const xc_domaininfo_t* info) {
  if (info->flags & XEN_DOMINF_dying) return "dying";
  if (info->flags & XEN_DOMINF_shutdown) return "shutdown";
  if (info->flags & XEN_DOMINF_paused) return "paused";
  return info->flags & XEN_DOMINF_running ? "running" : "blocked";
}

static void print_handle(const xc_domaininfo_t* info, char* out) {
  for (unsigned i = 0; i < 16; ++i) {
    out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", info->handle[i]);
  }
}

int main(int count, char** arguments) {
  const int destroy = count > 1 && strcmp(arguments[1], "--destroy") == 0;
  if (count > 3 || (count > 1 && !destroy)) {
    fprintf(stderr, "usage: domains [--destroy [HANDLE-PREFIX]]\n");
    return 2;
  }
  const char* prefix = count == 3 ? arguments[2] : "";
  xc_interface* xen = xc_interface_open(NULL, NULL, 0);
  if (!xen) return perror("domains: no access to Xen"), 1;

  int failed = 0;
  xc_domaininfo_t info;
  for (uint32_t next = 1;; next = info.domain + 1u) {
    const int found = xc_domain_getinfolist(xen, next, 1, &info);
    if (found < 0) return perror("domains: list"), 1;
    if (found == 0) break;
    char handle[40];
    print_handle(&info, handle);
    if (strncmp(handle, prefix, strlen(prefix)) != 0) continue;
    if (destroy && xc_domain_destroy(xen, info.domain) != 0) {
      perror("domains: destroy");
      failed = 1;
    }
    printf("%s %u %s handle %s, %llu pages\n", destroy ? "destroyed domain" : "domain", info.domain, state(&info), handle,
           (unsigned long long)info.tot_pages);
  }
  xc_interface_close(xen);
  return failed;
}
