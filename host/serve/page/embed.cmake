# cmake -DPAGE=index.html -DOUT=index.c -P embed.cmake
# Writes a C file with the page as an array, its ETag, and a Content-Security-Policy that allows the page's
# own style and script, by their hashes, and nothing else.
cmake_minimum_required(VERSION 3.20)
set(largest 61440) # bytes

# base64_of(OUT HEX): CMake has no base64. Three bytes become four letters; '=' fills the last group.
function(base64_of out hex)
  set(letters "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  string(LENGTH "${hex}" n)
  while(n GREATER 0)
    string(SUBSTRING "${hex}" 0 6 group)
    string(LENGTH "${group}" digits)
    set(padded "${group}0000")
    string(SUBSTRING "${padded}" 0 6 padded)
    math(EXPR used "${digits} / 2 + 1")
    foreach(k RANGE 3)
      if(k LESS used)
        math(EXPR at "(0x${padded} >> (18 - 6 * ${k})) & 63")
        string(SUBSTRING "${letters}" ${at} 1 letter)
        string(APPEND text "${letter}")
      else()
        string(APPEND text "=")
      endif()
    endforeach()
    string(SUBSTRING "${hex}" ${digits} -1 hex)
    string(LENGTH "${hex}" n)
  endwhile()
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# source_of(OUT TAG): the CSP source of the page's one element of that name.
function(source_of out tag)
  string(FIND "${page}" "<${tag}>" from)
  string(FIND "${page}" "<${tag}>" last REVERSE)
  string(FIND "${page}" "</${tag}>" to)
  string(FIND "${page}" "<${tag} " other)
  if(from LESS 0 OR NOT from EQUAL last OR to LESS from OR other GREATER_EQUAL 0)
    message(FATAL_ERROR "${PAGE}: expected one <${tag}> without attributes, and its end")
  endif()
  string(LENGTH "<${tag}>" skip)
  math(EXPR from "${from} + ${skip}")
  math(EXPR length "${to} - ${from}")
  string(SUBSTRING "${page}" ${from} ${length} inner)
  string(SHA256 hex "${inner}")
  base64_of(digest ${hex})
  set(${out} "'sha256-${digest}'" PARENT_SCOPE)
endfunction()

file(SIZE "${PAGE}" size)
if(size GREATER largest)
  message(FATAL_ERROR "${PAGE}: ${size} bytes, expected at most ${largest}")
endif()
file(READ "${PAGE}" page)
source_of(script script)
source_of(style style)
file(SHA256 "${PAGE}" etag)
string(SUBSTRING ${etag} 0 32 etag)
file(READ "${PAGE}" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")

file(WRITE "${OUT}" "/* Made by embed.cmake. */
#include \"host/serve/page/page.h\"

static const unsigned char bytes[] = {${bytes}};

const serve_page *serve_page_get(void) {
    static const serve_page page = {
        .bytes = (const char *)bytes,
        .length = sizeof bytes,
        .type = \"text/html; charset=utf-8\",
        .etag = \"\\\"${etag}\\\"\",
        .csp = \"default-src 'none'; script-src ${script}; style-src ${style}; connect-src 'self'; \"
               \"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\",
    };
    return &page;
}
")
