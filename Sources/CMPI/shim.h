#pragma once
#include <mpi.h>

// Open MPI's handles are macros with casts, which Swift cannot import.
static inline MPI_Comm tf_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Datatype tf_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype tf_mpi_byte(void) { return MPI_BYTE; }
static inline MPI_Op tf_mpi_sum(void) { return MPI_SUM; }
static inline MPI_Info tf_mpi_info_null(void) { return MPI_INFO_NULL; }
static inline void *tf_mpi_in_place(void) { return MPI_IN_PLACE; }
static inline MPI_Status *tf_mpi_status_ignore(void) { return MPI_STATUS_IGNORE; }
static inline MPI_Errhandler tf_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }
