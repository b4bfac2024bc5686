typedef int tf_sp_skeleton;
