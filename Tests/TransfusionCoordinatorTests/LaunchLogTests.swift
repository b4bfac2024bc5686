import Testing

@testable import TransfusionCoordinator

/// The texts are what mpirun of Open MPI 4.1 prints.
@Suite struct LaunchLogTests {
    @Test func namesTheSignalThatEndedARank() {
        let log = LaunchLog(
            text: """
                step 3/20 loss 2.31
                --------------------------------------------------------------------------
                mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 11 (Segmentation fault).
                --------------------------------------------------------------------------
                """)
        #expect(log.firstEnd == .init(rank: 1, signal: 11, exitCode: nil))
        #expect(log.errors.isEmpty && log.refusedMemory == nil && log.launchProblem == nil)
    }

    @Test func namesTheExitCodeOfARank() {
        let log = LaunchLog(
            text: """
                mpirun detected that one or more processes exited with non-zero status, thus causing
                the job to be terminated. The first process to do so was:

                  Process name: [[19397,1],3]
                  Exit code:    1
                """)
        #expect(log.firstEnd == .init(rank: 3, signal: nil, exitCode: 1))
    }

    @Test func knowsThatAHostIsLost() {
        let log = LaunchLog(
            text: """
                ORTE has lost communication with a remote daemon.

                  HNP daemon   : [[9083,0],0] on node head
                  Remote daemon: [[9083,0],2] on node 10.77.0.3
                """)
        #expect(log.lostHost && log.firstEnd == nil && log.launchProblem == nil)
        #expect(!LaunchLog(text: "step 3/20 loss 2.31").lostHost)
    }

    @Test func namesTheRankThatAborted() {
        let log = LaunchLog(
            text: """
                error: rank 1: /data/set: cannot be read
                --------------------------------------------------------------------------
                MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
                with errorcode 2.
                """)
        #expect(log.firstEnd == .init(rank: 1, signal: nil, exitCode: 2))
        #expect(log.errors == ["rank 1: /data/set: cannot be read"])
    }

    @Test func keepsTheFirstMessageOfMPIRun() {
        let line = String(repeating: "-", count: 74)
        let log = LaunchLog(
            text: """
                \(line)
                A call to mkdir was unable to create the desired directory:

                  Directory: /proc/ompi.vm.0
                  Error:     No such file or directory
                \(line)
                [vm:15769] [[20839,0],0] ORTE_ERROR_LOG: Error in file session_dir.c at line 107
                \(line)
                It looks like orte_init failed for some reason
                \(line)
                """)
        #expect(
            log.launcherMessage
                == "A call to mkdir was unable to create the desired directory: Directory: /proc/ompi.vm.0 "
                + "Error: No such file or directory")
        #expect(LaunchLog(text: "step 1/2 loss 3").launcherMessage == nil)
    }

    @Test(arguments: [
        "Fatal error: out of memory: 1048576 bytes for one tensor, 5 bytes in use", "terminate: std::bad_alloc",
        "mmap: Cannot allocate memory",
    ])
    func knowsRefusedMemory(_ line: String) {
        #expect(LaunchLog(text: "step 1\n\(line)\n").refusedMemory == line)
    }

    @Test func knowsThatThereIsNoRoom() {
        let log = LaunchLog(
            text: "There are not enough slots available in the system to satisfy the 9 slots\nthat were")
        #expect(log.launchProblem?.contains("not enough slots") == true)
    }
}
