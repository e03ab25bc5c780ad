# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Xen's libraries and headers (Debian: libxen-dev). Sets Xen_FOUND, Xen_VERSION (of libxenctrl, which follows Xen's release) and
# Xen_LIBRARIES. libxenctrl and libxenguest have no stable ABI: what is built here runs on that release of Xen.

find_path(Xen_INCLUDE_DIR xenctrl.h)
set(Xen_LIBRARIES xenctrl xenguest xendevicemodel xenforeignmemory xenevtchn xentoolcore xentoollog)
set(xen_needed Xen_INCLUDE_DIR)
foreach(library IN LISTS Xen_LIBRARIES)
  find_library(Xen_${library}_LIBRARY ${library})
  mark_as_advanced(Xen_${library}_LIBRARY)
  list(APPEND xen_needed Xen_${library}_LIBRARY)
endforeach()
mark_as_advanced(Xen_INCLUDE_DIR)

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(xen_control QUIET xencontrol)
  set(Xen_VERSION ${xen_control_VERSION})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Xen REQUIRED_VARS ${xen_needed} VERSION_VAR Xen_VERSION
  REASON_FAILURE_MESSAGE "install libxen-dev, or leave xen out of TRIVET_BACKENDS")
