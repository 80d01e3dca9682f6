# Language levels, warnings and sanitizers for every target. Includes are written from the root.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(weir_flags INTERFACE)
target_include_directories(weir_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE)
set(weir_options
  -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla
  -Wformat=2 -Wundef
  $<$<COMPILE_LANGUAGE:C>:-Wconversion>
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wold-style-definition>
  -ffp-contract=off      # the accept path's bits are the same on every machine
  -fno-strict-aliasing
  -fno-math-errno        # lets fmaf and sqrtf become instructions; changes no result
  -fno-trapping-math     # lets selects vectorise; changes no result
  $<$<CONFIG:Release>:-O3>
  $<$<CONFIG:Debug>:-Og>  # without optimisation gcc's AVX-512 intrinsics are macros that -Wconversion refuses
)
# nvcc's options: cuda.cmake
target_compile_options(weir_flags INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${weir_options}>")
# With sanitizers code is as slow at -O2 as at -O1, but files with vectors would compile for minutes. Reports
# need lines only. The other builds warn of uninitialised values; here the inserted checks confuse the
# compiler.
if(WEIR_ASAN OR WEIR_TSAN)
  target_compile_options(weir_flags INTERFACE -O1 -g1 -Wno-maybe-uninitialized)
endif()
if(WEIR_ASAN)
  target_compile_options(weir_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(weir_flags INTERFACE -fsanitize=address,undefined)
endif()
if(WEIR_TSAN)
  target_compile_options(weir_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(weir_flags INTERFACE -fsanitize=thread)
endif()
if(WEIR_FUZZ)
  target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all)
  target_link_options(weir_flags INTERFACE -fsanitize=address,undefined)
endif()
