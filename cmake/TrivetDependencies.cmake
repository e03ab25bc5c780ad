# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What Trivet uses rather than writes. The installed package repeats the part that its users need.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
set(Boost_USE_STATIC_LIBS ON)  # a VMM's start and its resident memory are paid for each guest
find_package(Boost 1.81 REQUIRED COMPONENTS json program_options filesystem)
find_package(tl-expected REQUIRED)
find_package(fmt 9 REQUIRED)  # its headers; core/src/format.cpp has the definitions
add_library(trivet_fmt INTERFACE)
target_include_directories(trivet_fmt SYSTEM INTERFACE $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
find_package(spdlog REQUIRED)
add_library(trivet_spdlog INTERFACE)  # header-only, over fmt as above; its own target would link the shared fmt
target_include_directories(trivet_spdlog SYSTEM INTERFACE $<TARGET_PROPERTY:spdlog::spdlog_header_only,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_definitions(trivet_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing)
# For the program only, and static: a shared one would be loaded by each start of every command.
find_path(TRIVET_SECCOMP_INCLUDE seccomp.h)
find_library(TRIVET_SECCOMP_LIBRARY libseccomp.a)
if(NOT TRIVET_SECCOMP_INCLUDE OR NOT TRIVET_SECCOMP_LIBRARY)
  message(FATAL_ERROR "needs libseccomp, seccomp.h and libseccomp.a: install package libseccomp-dev (scripts/install-dependencies does)")
endif()
add_library(trivet_seccomp INTERFACE)
target_include_directories(trivet_seccomp SYSTEM INTERFACE ${TRIVET_SECCOMP_INCLUDE})
target_link_libraries(trivet_seccomp INTERFACE ${TRIVET_SECCOMP_LIBRARY})

if(TRIVET_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(TRIVET_BUILD_BENCHES)
  find_package(benchmark REQUIRED)
endif()
