# What is there to build sooner: a quick linker, a cache of objects. Neither is needed, and what somebody chose stays.
include(CheckLinkerFlag)
if(NOT WEIR_CUDA AND NOT "${CMAKE_EXE_LINKER_FLAGS} $ENV{LDFLAGS}" MATCHES "-fuse-ld") # nvcc's programs keep the usual linker
  foreach(linker mold lld)
    check_linker_flag(CXX -fuse-ld=${linker} WEIR_LINKS_WITH_${linker})
    if(WEIR_LINKS_WITH_${linker})
      add_link_options(-fuse-ld=${linker})
      break()
    endif()
    unset(WEIR_LINKS_WITH_${linker} CACHE) # it may be installed later
  endforeach()
endif()

find_program(WEIR_CCACHE ccache)
mark_as_advanced(WEIR_CCACHE)
if(WEIR_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  # Paths relative to the checkout, so that others find the same objects.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${WEIR_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
