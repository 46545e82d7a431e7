/* Includes one header and needs its table complete. */
#include HEADER

TABLE table_of_this_version;
