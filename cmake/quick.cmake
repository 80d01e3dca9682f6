# Speeds up builds with a fast linker and an object cache, if installed. Neither is required, and the user's
# choice wins.
include(CheckLinkerFlag)
# Programs with CUDA keep the usual linker.
if(NOT WEIR_CUDA AND NOT "${CMAKE_EXE_LINKER_FLAGS} $ENV{LDFLAGS}" MATCHES "-fuse-ld")
  foreach(linker lld mold)
    check_linker_flag(CXX -fuse-ld=${linker} WEIR_LINKS_WITH_${linker})
    if(WEIR_LINKS_WITH_${linker})
      add_link_options(-fuse-ld=${linker})
      # mold 1.10's relro may begin a page early, where nothing is mapped; such a program does not start.
      if(linker STREQUAL mold)
        add_link_options(-Wl,-z,norelro)
      endif()
      break()
    endif()
    unset(WEIR_LINKS_WITH_${linker} CACHE) # it may be installed later
  endforeach()
endif()

find_program(WEIR_CCACHE ccache)
mark_as_advanced(WEIR_CCACHE)
if(WEIR_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  # Paths relative to the checkout, so that other checkouts find the same objects.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${WEIR_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
