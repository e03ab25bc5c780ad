# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The installed package: find_package(trivet), and a pkg-config file for each room.

include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/trivet)
install(EXPORT trivet NAMESPACE trivet:: FILE trivet-targets.cmake DESTINATION ${package_dir})
if("mshv" IN_LIST TRIVET_BACKENDS)
  set(TRIVET_CONFIG_ZYDIS "find_dependency(Zydis)\n")
endif()
configure_package_config_file(cmake/trivet-config.cmake.in ${CMAKE_BINARY_DIR}/trivet-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/trivet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/trivet-config.cmake ${CMAKE_BINARY_DIR}/trivet-config-version.cmake
  DESTINATION ${package_dir})

# trivet_pkg_config(ROOM REQUIRES LIBS)
function(trivet_pkg_config room requires libs)
  set(TRIVET_PC_ROOM ${room})
  set(TRIVET_PC_REQUIRES ${requires})
  set(TRIVET_PC_LIBS ${libs})
  configure_file(cmake/trivet.pc.in ${CMAKE_BINARY_DIR}/trivet-${room}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/trivet-${room}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
trivet_pkg_config(core "" "-lboost_filesystem -ldl -lpthread")
trivet_pkg_config(memory "trivet-core" "")
trivet_pkg_config(virtio "trivet-memory liburing" "-lboost_json")
foreach(backend IN LISTS TRIVET_BACKENDS)
  if(backend STREQUAL "mshv")
    trivet_pkg_config(mshv "trivet-memory" "-ltrivet_x86_emulator -lZydis")
  else()
    trivet_pkg_config(${backend} "trivet-memory" "")
  endif()
  list(APPEND backend_packages trivet-${backend})
endforeach()
list(JOIN backend_packages " " backend_packages)
trivet_pkg_config(vmm "trivet-virtio ${backend_packages}" "-lboost_json -lboost_program_options")
