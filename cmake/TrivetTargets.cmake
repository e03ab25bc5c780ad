# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# How each kind of target is made, so that a new one is one line.

include(GNUInstallDirs)

# trivet_room(NAME SOURCES ... [USES targets...] [PRIVATE_USES targets...])
# A room's library trivet::NAME. It exports only its own include folder, so that a forbidden include does not compile.
function(trivet_room name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;PRIVATE_USES" ${ARGN})
  add_library(trivet_${name} ${arg_SOURCES})
  add_library(trivet::${name} ALIAS trivet_${name})
  set_target_properties(trivet_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(trivet_${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_compile_features(trivet_${name} PUBLIC cxx_std_20)
  target_link_libraries(trivet_${name} PUBLIC ${arg_USES} PRIVATE $<BUILD_INTERFACE:trivet_flags> $<BUILD_INTERFACE:trivet_fmt>
    ${arg_PRIVATE_USES})
  set_property(GLOBAL APPEND PROPERTY TRIVET_ROOMS trivet_${name})
  install(TARGETS trivet_${name} EXPORT trivet ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
endfunction()

# trivet_program(NAME SOURCES ... USES ...): lands in bin/.
function(trivet_program name)
  cmake_parse_arguments(arg "INSTALL" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE trivet_flags trivet_fmt ${arg_USES})
  if(arg_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

# All tests of label unit, without the programs, benches and fuzzers.
add_custom_target(units)

# trivet_unit_test(ROOM SOURCES...): one program of GoogleTests for each room.
function(trivet_unit_test room)
  add_executable(unit_${room} ${ARGN})
  target_link_libraries(unit_${room} PRIVATE trivet_flags trivet_fmt trivet::${room} trivet_test_support GTest::gmock_main)
  target_include_directories(unit_${room} PRIVATE $<TARGET_PROPERTY:trivet_${room},SOURCE_DIR>/src)
  # Most of a build is tests: what is under test is optimised as in a release, the tests themselves less.
  target_compile_options(unit_${room} PRIVATE $<$<CONFIG:Release,RelWithDebInfo>:-O1>)
  if(TRIVET_SANITIZE OR TRIVET_COVERAGE)
    # A third of what compiling a test takes is these. Not in a release: two of those share their objects through ccache, which does without.
    target_precompile_headers(unit_${room} PRIVATE <gmock/gmock.h> <gtest/gtest.h> <array> <atomic> <chrono> <memory> <string> <thread> <vector>)
  endif()
  add_dependencies(units unit_${room})
  add_test(NAME unit_${room} COMMAND unit_${room})
  set_tests_properties(unit_${room} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

# trivet_fuzzer(ROOM SOURCE): fuzz_<name> from <name>_fuzz.cpp, with its seeds in tests/fuzz/corpus/<name>. Each seed and each past
# crash is also a test.
function(trivet_fuzzer room source)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name ${name})
  add_executable(fuzz_${name} ${source})
  target_link_libraries(fuzz_${name} PRIVATE trivet_flags trivet_fmt trivet::${room} trivet_test_support -fsanitize=fuzzer)
  target_include_directories(fuzz_${name} PRIVATE $<TARGET_PROPERTY:trivet_${room},SOURCE_DIR>/src)
  add_test(NAME fuzz_${name}_corpus COMMAND fuzz_${name} -runs=0 ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz_${name}_corpus PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()

# trivet_bench(ROOM SOURCE): bench_<name> from <name>_bench.cpp.
function(trivet_bench room source)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_bench$" "" name ${name})
  add_executable(bench_${name} ${source})
  target_link_libraries(bench_${name} PRIVATE trivet_flags trivet_fmt trivet::${room} trivet_test_support benchmark::benchmark)
  target_include_directories(bench_${name} PRIVATE $<TARGET_PROPERTY:trivet_${room},SOURCE_DIR>/src)
endfunction()

# trivet_readme_example(ROOM README): the README's first cpp block is a whole program; it is built and run as a test.
function(trivet_readme_example room readme)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${readme})
  file(READ ${readme} text)
  if(NOT text MATCHES "```cpp\n([^`]+)```")
    message(FATAL_ERROR "${readme} has no ```cpp example; every room's README has one that is compiled and run")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/readme_${room}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "${CMAKE_MATCH_1}" @ONLY)
  add_executable(readme_${room} ${source})
  target_link_libraries(readme_${room} PRIVATE trivet_flags trivet_fmt trivet::${room})
  add_dependencies(units readme_${room})
  add_test(NAME readme_${room} COMMAND readme_${room})
  set_tests_properties(readme_${room} PROPERTIES LABELS unit TIMEOUT 30 SKIP_RETURN_CODE 77)
endfunction()
